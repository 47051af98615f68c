"""What servers mean by what they refuse. Knows no product and no stream."""
