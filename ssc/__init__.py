"""Spatial structure constraints for weakly supervised semantic segmentation."""
