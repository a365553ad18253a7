"""The web service: FastAPI, SQLAlchemy and files; no torch, no trainer."""
