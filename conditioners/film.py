"""FiLM: timbre scales and shifts every feature.

Feature-wise linear modulation (Perez et al., arXiv 1709.07871) as Mel2Mel uses it (arXiv 1811.00223, section 3.1):

    gamma = f(x),  beta = h(x),  FiLM(F) = gamma * F + beta        x: timbre; f and h: one linear layer each
"""

from __future__ import annotations

from torch import Tensor, nn

from m2m.core.conditioner import ConditionerOptions, TimbreConditioner


class FiLM(TimbreConditioner):
    """gamma(timbre) * features + beta(timbre).

    >>> import torch
    >>> film = FiLM(n_features=4, timbre_dim=2)
    >>> film(torch.zeros(1, 5, 4), torch.zeros(1, 1, 2)).tolist() == torch.zeros(1, 5, 4).tolist()
    True
    """

    API_VERSION = 1

    def __init__(self, n_features: int, timbre_dim: int, options: ConditionerOptions | None = None) -> None:
        super().__init__(n_features, timbre_dim, options)
        self.gamma = nn.Linear(timbre_dim, n_features)
        self.beta = nn.Linear(timbre_dim, n_features)
        # Near the identity, so that a deep stack learns from its first step: gamma = 1 + Wx, beta = Wx. PyTorch's own
        # weights stay, or a timbre would have no effect and its vector no gradient.
        nn.init.ones_(self.gamma.bias)
        nn.init.zeros_(self.beta.bias)

    def forward(self, features: Tensor, timbre: Tensor) -> Tensor:
        return self.gamma(timbre) * features + self.beta(timbre)  # (batch, 1 or frames, n) broadcasts over the frames
