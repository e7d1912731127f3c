"""Search for compression settings: what each layer's density costs in accuracy and saves in cycles."""
