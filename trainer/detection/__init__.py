"""Detection: signs found in photographs from the road, and how that is backdoored."""
