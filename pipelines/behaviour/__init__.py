"""Behaviour as features: one definition of each (conf/features/), computed in batch, on a cluster and live alike."""
