"""What a compiled step tells about itself, and what it is compared with."""
