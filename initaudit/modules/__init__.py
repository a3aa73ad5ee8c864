"""Live models: an `nn.Module` or a state dict, audited where its tensors lie. Imported only when one is given."""

from initaudit.modules.auditing import audit_live, understood_live

__all__ = ["audit_live", "understood_live"]
