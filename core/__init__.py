"""The spine of m2m: contracts, data and the acoustic model. It imports no stage."""
