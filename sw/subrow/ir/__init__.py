"""The network between capture and Program."""
