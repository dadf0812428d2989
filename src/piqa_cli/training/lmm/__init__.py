"""Training of large multimodal models: dialogues with known answers, packed as the assessor will ask them."""
