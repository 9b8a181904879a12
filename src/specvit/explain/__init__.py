"""What a trained network looks at: attention, integrated gradients, and their shares on known lines."""

from specvit.explain.attention import AttentionProfiles, attention_profiles, has_attention, rollout
from specvit.explain.gradients import Attribution, estimate_slopes, integrated_gradients
from specvit.explain.sample import SMOOTHING, likeness, mean_density, to_shares, window_shares
from specvit.explain.windows import WINDOWS, window_of_pixels

__all__ = [
    "SMOOTHING",
    "WINDOWS",
    "AttentionProfiles",
    "Attribution",
    "attention_profiles",
    "estimate_slopes",
    "has_attention",
    "integrated_gradients",
    "likeness",
    "mean_density",
    "rollout",
    "to_shares",
    "window_of_pixels",
    "window_shares",
]
