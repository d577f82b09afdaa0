"""Other people's programs on our data and our machine, measured by our code."""
