"""The timbre explorer: `m2m serve`, a page that plays the instrument and an HTTP API that programs can use as well."""
