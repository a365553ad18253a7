"""TUF: who may say what is in the zoo, and how a client comes to believe it."""
