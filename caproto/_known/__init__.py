"""Names of caproto 1.x for what has other names inside; `caproto` offers them."""
