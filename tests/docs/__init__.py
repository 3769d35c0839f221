"""The pages of docs/: what they show works, what they list is what there is, and each can be found."""
