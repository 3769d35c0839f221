"""Where records are kept: mechanics without policy, behind one protocol."""
