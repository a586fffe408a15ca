"""What four of the experiments measure, on networks and images whose answer is known."""

from __future__ import annotations

import math

import pytest
import torch

from capsroute.experiments import little_data, reconstruct, routing, routing_figure, translation
from capsroute.experiments.record import Record
from capsroute.models import CapsNet
from capsroute.training import TrainingError
from capsroute.training.datasets import ImageSet, load_digits
from capsroute.training.reporting.figures import new_figure

SMALL = {"image_size": 9, "conv_channels": 6, "conv_kernel": 3, "primary_types": 3, "primary_kernel": 3}


@pytest.fixture(scope="module")
def digits():
    return load_digits().train


@pytest.fixture
def capsnet():
    torch.manual_seed(0)
    return CapsNet(**SMALL, decoder_sizes=(16,)).eval()


def random_images(count=12):
    return ImageSet(torch.randint(256, (count, 1, 9, 9), dtype=torch.uint8), torch.arange(count) % 10)


class TestLittleData:
    def test_as_many_of_each_class_and_fewer_are_part_of_more(self, digits):
        few, more = (little_data._first_of_each_class(digits, size, seed=1) for size in (10, 20))
        assert torch.bincount(few.labels).tolist() == [10] * 10
        assert torch.bincount(more.labels).tolist() == [20] * 10
        found = {tuple(image.flatten().tolist()) for image in more.images}
        assert all(tuple(image.flatten().tolist()) in found for image in few.images)
        other = little_data._first_of_each_class(digits, 10, seed=2)
        assert not torch.equal(few.images, other.images)

    def test_sizes_are_what_every_class_has(self, digits):
        assert little_data._sizes(digits) == [10, 20, 50, 100]
        assert little_data._sizes(digits[:60]) == [3]

    def test_a_class_without_images(self, digits):
        with pytest.raises(TrainingError, match="the first 5 training images lack a class: raise --images"):
            little_data._sizes(digits[:5])

    def test_few_images_are_repeated(self, digits):
        few = digits[:4]
        repeated = little_data._Repeated(few, 10)
        assert len(repeated) == 10
        assert repeated.image_shape == (1, 8, 8)
        images, labels = repeated.batch(torch.tensor([9, 0, 4]))
        assert torch.equal(images, few.batch(torch.tensor([1, 0, 0]))[0])
        assert torch.equal(labels, few.labels[[1, 0, 0]])
        assert torch.equal(repeated.batch(slice(6, 10))[1], few.labels[[2, 3, 0, 1]])


def test_a_probe_for_each_class():
    features = torch.tensor([[2.0, 3.0], [4.0, 5.0]])
    spread_out = translation._by_class(features, torch.tensor([0, 9])).unflatten(1, (10, 3))
    assert spread_out[0, 0].tolist() == [2, 3, 1]
    assert spread_out[1, 9].tolist() == [4, 5, 1]
    assert spread_out.sum() == 16


class TestReconstruct:
    def test_sweep_moves_one_component_at_a_time(self, capsnet):
        images, labels = random_images().batch(slice(None))
        swept = reconstruct._sweep(capsnet, images, labels)
        assert swept.shape == (12, 16, 11, 1, 9, 9)
        still = capsnet(images, labels).reconstruction
        torch.testing.assert_close(swept[:, :, 5], still[:, None].expand(-1, 16, -1, -1, -1))
        capsules = capsnet(images).capsules.detach().clone()
        capsules[3, labels[3], 7] += 0.25
        torch.testing.assert_close(swept[3, 7, 10], capsnet.decoder(capsules, labels)[3].detach())

    def test_components_beat_the_mean_and_know_what_they_were_made_of(self, digits):
        originals, labels = digits.batch(slice(None))
        made, means = reconstruct._from_components(digits, originals), reconstruct._class_means(digits)[labels]
        assert reconstruct._error(made, originals) < 0.5 * reconstruct._error(means, originals)
        sixteen = digits.batch(slice(16))[0]
        few = digits[:16]
        torch.testing.assert_close(reconstruct._from_components(few, sixteen), sixteen, atol=1e-4, rtol=0)

    def test_error_is_summed_over_pixels(self):
        assert reconstruct._error(torch.ones(2, 1, 3, 3), torch.zeros(2, 1, 3, 3)) == 9

    def test_effects_are_in_standard_deviations_of_the_class(self):
        """A component that moves a dot by two pixels, where dots of this class are one pixel above or below."""
        originals = torch.zeros(4, 1, 9, 9)
        originals[range(4), 0, [3, 5, 3, 5], 4] = 1
        swept = torch.zeros(4, 2, 11, 1, 9, 9)
        swept[:, 0, :, 0, 4, 4] = 1
        swept[:, 1, 0, 0, 3, 4] = swept[:, 1, 10, 0, 5, 4] = 1
        effects = reconstruct._effects(swept, originals, torch.zeros(4, dtype=torch.int64))
        assert effects.shape == (1, 2, 6)
        torch.testing.assert_close(effects[0, 1], torch.tensor([0.0, 2, 0, 0, 0, 0]))
        assert torch.equal(effects[0, 0], torch.zeros(6))

    def test_words_name_what_changes_most(self):
        assert reconstruct._words([[0.1, 0, 0, 0, -2.04, 1]]) == ["1: width -2.0"]

    def test_strong_effects_on_one_property_alone(self):
        effects = torch.tensor([[[1.2, 0.5], [1.2, 0.7], [-3, 0], [0.4, 0.1]]])
        assert reconstruct._single(effects) == pytest.approx(2 / 3)
        assert reconstruct._single(torch.tensor([[[0.4, 0.1]]])) == 0

    def test_kept_class(self, capsnet):
        images, _ = random_images(4).batch(slice(None))
        swept = images[:, None, None].expand(-1, 2, 11, -1, -1, -1)
        predicted = capsnet(images).lengths.argmax(1)
        assert reconstruct._kept_class(capsnet, swept, predicted) == 1
        predicted[0] = (predicted[0] + 1) % 10
        assert reconstruct._kept_class(capsnet, swept, predicted) == 0.75


class TestRouting:
    def test_entropy_is_one_for_uniform_coupling_and_falls(self, capsnet):
        with torch.no_grad():
            capsnet.classes.weight.mul_(20)
        found = routing._couplings(capsnet, random_images())
        assert found["entropy"][0] == pytest.approx(1)
        assert found["to_winner"][0] == pytest.approx(0.1)
        assert found["entropy"][0] > found["entropy"][1] > found["entropy"][2] > 0
        assert found["to_winner"][2] > found["to_winner"][0]

    def test_entropy_is_zero_where_each_part_sends_to_one_whole(self, capsnet):
        with torch.no_grad():
            capsnet.classes.weight.mul_(1e4)
        assert routing._couplings(capsnet, random_images())["entropy"][-1] < 0.05

    def test_what_places_give_adds_up_to_the_winner_before_its_squash(self, capsnet):
        images = random_images()
        found = routing._parts_and_wholes(capsnet, images)
        assert found["coupling"].shape == (3, 3, 9, 10)
        torch.testing.assert_close(found["coupling"].sum(-1), torch.ones(3, 3, 9))
        longest = found["lengths"][:, -1].max(1).values
        length_before = (longest / (1 - longest)).sqrt()  # |v| = |s|² / (1 + |s|²)
        torch.testing.assert_close(found["given"].sum(1), length_before, rtol=1e-3, atol=1e-5)

    @pytest.mark.parametrize("options", [{}, {"conv_padding": 1}, {"conv_stride": 2, "primary_stride": 1}])
    def test_centres_are_where_a_capsule_looks(self, options):
        """The gradient of the capsules of a place is symmetric about it, on average over the pixels."""
        torch.manual_seed(0)
        model = CapsNet(**{**SMALL, **options})
        for conv in (model.conv, model.primary.conv):
            torch.nn.init.ones_(conv.weight)
        images = torch.ones(1, 1, 9, 9, requires_grad=True)
        centres = routing._centres(model, 9, 9)
        capsules = model.primary.conv(model.conv(images)).flatten(2).sum(1)[0]
        assert len(capsules) == len(centres)
        side = math.isqrt(len(centres))
        middle = side * (side // 2) + side // 2  # whose capsules see nothing of the border
        (seen,) = torch.autograd.grad(capsules[middle], images)
        share = seen[0, 0] / seen.sum()
        pixels = torch.arange(9.0)
        assert [float(share.sum(1) @ pixels), float(share.sum(0) @ pixels)] == pytest.approx(centres[middle].tolist())

    @pytest.mark.parametrize("draw", [routing_figure._accuracy, routing_figure._entropy])
    def test_no_legend_covers_what_it_explains(self, draw):
        """Of two seeds that differ so much that error bars are all over the panels."""
        names = [f"T = {count}" for count in range(1, 6)]
        kinds = [*names, "T = 3, gradient of the last iteration", "T = 3, softmax over inputs"]
        seeds = [
            {
                "accuracy": {name: 0.9 + 0.05 * sign * (number + 1) / 7 for number, name in enumerate(kinds)},
                "coupling": {name: {"entropy": [0.5 + 0.1 * sign * k for k in range(5)]} for name in names},
            }
            for sign in (-1, 1)
        ]
        figure = new_figure(3, 3)
        axes = figure.subplots()
        draw(axes, Record("routing", {}, {}, 1.0, seeds))
        figure.canvas.draw()
        panel, legend = axes.get_window_extent(), axes.get_legend().get_window_extent()
        assert legend.y0 >= panel.y1
        assert figure.bbox.y1 >= legend.y1
        assert figure.bbox.x0 <= legend.x0 < legend.x1 <= figure.bbox.x1
