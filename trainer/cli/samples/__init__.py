"""Commands that judge single images: of a training set, or at inference."""
