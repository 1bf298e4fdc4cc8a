"""The routes: addresses, methods, headers and status codes. Other rooms compute the answers."""
