"""Faster R-CNN on traffic signs in scenes."""
