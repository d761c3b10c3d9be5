"""What a run does otherwise where several processes train one model."""
