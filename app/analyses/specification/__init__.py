"""Response and remission under every definition of a grid."""
