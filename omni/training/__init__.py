"""What a training loop needs except the loop."""
