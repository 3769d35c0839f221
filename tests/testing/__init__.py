"""What users' own tests are given."""
