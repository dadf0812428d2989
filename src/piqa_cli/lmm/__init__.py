"""The large multimodal assessor: any Hugging Face image-text-to-text model behind the assessor protocol."""
