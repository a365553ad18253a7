"""The one way in and out of a release: publish, withdraw, and who descends from it."""
