"""Turn the deliveries of meter readings into hours for billing."""
