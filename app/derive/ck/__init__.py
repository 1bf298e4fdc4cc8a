"""When CK is normal, from which draw to which."""
