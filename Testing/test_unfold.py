"""Exported weights made fit to be trained on: the same network, spread as it was drawn."""

import torch
from model_cards import card_content, random_network
from safetensors.torch import load

from SpineContextSegLib.network import network_for
from Training.export import export
from Training.loop import start_from
from Training.unfold import unfold


def test_folded_weights_compute_the_same_and_have_their_spread_back(tmp_path):
    drawn = random_network()
    model = export(drawn.state_dict(), card_content(), tmp_path / "tiny")
    network = network_for(model.card)
    start_from(network, load(model.read("safetensors")))
    network.eval(), drawn.eval()
    windows = torch.randn(2, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = drawn(windows)
        torch.testing.assert_close(network(windows), expected, atol=0.02 * float(expected.abs().max()), rtol=0)
    for convolution in (network.enc2.conv1, network.bottleneck.d8, network.bottleneck.fusion[2], network.dec1.conv2):
        spread = convolution.weight.detach().flatten(1).square().mean(1).sqrt()
        torch.testing.assert_close(spread, torch.full_like(spread, (3 * convolution.weight[0].numel()) ** -0.5))


def test_a_network_with_batch_norms_of_its_own_stays_as_it_is():
    network = random_network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    unfold(network)
    after = network.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
