"""Vector code of elementary functions, division and random bits."""
