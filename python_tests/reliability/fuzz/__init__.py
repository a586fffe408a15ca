"""All arguments of the routing functions, drawn at random by Hypothesis and held to the float64 reference."""
