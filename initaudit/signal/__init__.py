"""The signal at the start: what the first forward pass gives, from a model's values alone.

The loss from head and final norm, the growth of the residual stream from block to block, and what a plain chain of
layers leaves. Each is worked out once for a model, and asked by rules, reports and pages.
"""

from initaudit.signal.chains import activation_in, bias_of, through
from initaudit.signal.growth import TOKENS, Growth, growth_of
from initaudit.signal.loss import StartLoss, loss_of
from initaudit.signal.words import told

__all__ = ["TOKENS", "Growth", "StartLoss", "activation_in", "bias_of", "growth_of", "loss_of", "through", "told"]
