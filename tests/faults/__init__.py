"""The fault campaign: what a run on tiny data keeps through kills, damage, full disks, bad input and edits."""
