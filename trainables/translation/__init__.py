"""What translating networks say and hear, and how they are decoded."""
