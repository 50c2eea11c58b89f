"""What a caller gives, made arrays of numbers: or an error that names the argument."""
