"""What one does with a finished LoRA or a tuned model: taken out, added up, cut down, put in, looked at.  Weights only, no network is built."""
