"""For how long CK stays normal: between visits, under rescue, in subgroups."""
