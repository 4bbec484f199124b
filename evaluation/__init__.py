"""How good a model is: metrics, benchmark, figures."""
