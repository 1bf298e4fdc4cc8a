"""The core set measures and the composite responses made of them."""
