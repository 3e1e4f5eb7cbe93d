"""The figure of accuracies under attacks, a panel for each attack and one for the worst case."""

from __future__ import annotations

from capsbench.measures._figures import ConditionFigureSpec, LineSpec

WORST_CASE = "worst-case"  # the method of values of the whole suite

ATTACKS_FIGURE = ConditionFigureSpec(
    name="attacks",
    title="Adversarial attacks",
    metric="accuracy",
    axis="share of images",
    condition="epsilon",
    condition_axis="epsilon (1 = from black to white)",
    panels=("method", "targeted", "source"),
    names={
        "fgsm": "FGSM",
        "bim": "BIM",
        "pgd": "PGD",
        "apgd-ce": "APGD, cross-entropy",
        "apgd-dlr": "APGD, logit ratio",
        "square": "Square",
        WORST_CASE: "Worst case",
    },
    further_lines=(
        LineSpec("target_success", "target class"),
        LineSpec("zero_gradient", "no gradient", control=True),
        LineSpec("masked", "masked gradient", control=True),
    ),
    at_zero={"attack": "none"},
    caption=(
        "Accuracy on test images that were changed so that the model errs, no pixel by "
        "more than epsilon of the range from black to white; at 0 they are unchanged. FGSM "
        "takes one step along the sign of the gradient of log p (Goodfellow et al. 2015), "
        "BIM several (Kurakin et al. 2017), PGD several from a random start (Madry et al. "
        "2018), APGD several that adapt to the image, on the cross-entropy or on a ratio "
        "of differences of logits (Croce and Hein 2020). Square is a random search without "
        "gradients (Andriushchenko et al. 2020). In the worst case an image counts only if "
        "it is right unchanged and after every attack. 'Masked gradient' is the share of "
        "images by which an attack that should be weaker is ahead, if that is more than "
        "chance: then attacks by the gradient overstate the robustness. Of targeted "
        "attacks, 'target class' is the share of images that are classified as their "
        "target class. 'No gradient' is the share of images for which the attacked model "
        "gives no gradient: an attack by the gradient (white box) cannot climb there, and "
        "a model that looks robust may only lack gradients. Images 'from' another model "
        "were made to fool that one (a transferred attack), which needs no gradient of "
        "this one."
    ),
)
