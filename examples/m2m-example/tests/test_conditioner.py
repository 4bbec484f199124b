import torch
from m2m_example.conditioner import ExampleConditioner

from m2m.core.testing import ConditionerConformance


class TestContract(ConditionerConformance):
    name = "example-conditioner"


def test_a_timbre_of_zeros_leaves_features_as_they_are():
    features = torch.randn(1, 5, 4)
    assert torch.equal(ExampleConditioner(4, 2)(features, torch.zeros(1, 1, 2)), features)
