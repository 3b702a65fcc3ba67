"""What is known of code: the outcomes of its tests."""
