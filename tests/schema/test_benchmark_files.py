"""Benchmark files: shipped ones are valid, wrong values are refused in one sentence."""

from pathlib import Path

import pytest

from capsbench.errors import UserError
from capsbench.files.yaml import parse_yaml, write_yaml
from capsbench.measures import LayerMeasureConfig, load_measure
from capsbench.names import find
from capsbench.running.plan import plan
from capsbench.schema import benchmark_names, load_benchmark, parse_changes, variants

NUMBER = (
    "model: CNN, measure: calibration, quantity: {metric: confidence}, value: 1, printed: c, "
    "source: d, selected_on: e, known_by: read"
)


@pytest.mark.parametrize("name", benchmark_names())
def test_shipped_benchmarks_can_be_planned(name):
    benchmark = load_benchmark(name)
    assert benchmark.name == name
    assert find("benchmarks", name).summary() == benchmark.title
    cells = plan(benchmark)
    variants = len(benchmark.vary.points) if benchmark.vary else 1
    assert len(cells) == len(benchmark.models) * len(benchmark.seeds) * variants
    assert len({cell.path for cell in cells}) == len(cells)
    assert benchmark.expected


@pytest.mark.parametrize(
    ("name", "scale"),
    [
        (name, scale)
        for name in benchmark_names()
        for scale in load_benchmark(name).scales
        if scale != "cpu"  # see test_companions.py
    ],
)
def test_shipped_scales_can_be_planned(name, scale):
    assert plan(load_benchmark(name, scale=scale))


def test_other_changes_override_a_scale():
    small = load_benchmark("tilts", scale="cpu")
    assert small.recipe.steps == small.scales["cpu"]["recipe.steps"]
    assert load_benchmark("tilts", {"recipe.steps": 7}, scale="cpu").recipe.steps == 7
    with pytest.raises(UserError, match=r"scale.*'cp'; did you mean 'cpu'"):
        load_benchmark("tilts", scale="cp")


def test_published_numbers_can_be_compared_with_measured_ones():
    """Each names a measure of its benchmark, one of its metrics and a followed split if matched."""
    for name in benchmark_names():
        benchmark = load_benchmark(name)
        for entry in benchmark.published:
            assert entry.measure in {measure.measure for measure in benchmark.measures}, name
            if entry.rule == "matched":
                assert entry.quantity.split in benchmark.follow
            assert entry.quantity.metric in load_measure(entry.measure).metrics, name


def test_changes_reach_their_place():
    changes = parse_changes(["recipe.steps=7", "models.0.label=Net", "views.rotation=[-5, 5]"])
    benchmark = load_benchmark("quick", changes)
    assert benchmark.recipe.steps == 7
    assert benchmark.models[0].label == "Net"
    assert benchmark.views.rotation.limits == (-5, 5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("recipe.step=7", "did you mean 'steps'"),
        ("recipe.steps=many", "recipe.steps: "),
        ("recipe.steps=0", "recipe.steps: "),
        ("threads=20000", "threads: "),
        ("models.9.label=x", "index below 3"),
        ("title.x=1", "below 'title'"),
        ("views.rotation=[5, -5]", "lower one first"),
        ("seeds=[1, 1]", "different whole numbers"),
        ("seeds=[]", "seeds"),
        ("recipe.learning_rate=.inf", "finite number"),
        ("recipe.weight_decay=.inf", "finite number"),
        ("models.².label=x", "'²' should be an index"),
        ("models.0.label='a, b'", "comma"),
        ("selection=best", "selection"),
        ("measures.0.measure=accuracy-by-vie", "did you mean 'accuracy-by-view'"),
        ("measures.0.grid.rotatoin={start: 0, stop: 1, step: 1}", "did you mean 'rotation'"),
        ("measures.0={measure: rendering-error, views: {a: {}}, veiws: 1}", "did you mean 'views'"),
        ("models.0.nam=x", "did you mean 'name'"),
        ("models.1.label=CNN", "different label"),
        ("models.0.label='a · b'", "varied value"),
        ("models.0.recipe={steps: 7}", "needs a reason"),
        ("models.0={name: cnn-small, recipe: {step: 7}, reason: x}", "step"),
        ("matched={to: 0.9}", "'familiar' to follow"),
        ("matched={to: CN}", "did you mean 'CNN'"),
        ("matched={to: 1.5}", "matched.to"),
        ("vary={name: x, place: recipe.stepz, values: [1, 2]}", "stepz"),
        ("vary={name: x, place: recipe.steps, values: [1]}", "at least 2"),
        ("vary={name: x, place: recipe.steps, values: [1, 0]}", "greater than or equal"),
        ("vary={name: x, place: recipe.steps}", "place and values, or cases"),
        ("vary={name: x, values: [1, 2], cases: {a: {}, b: {}}}", "place and values, or cases"),
        ("vary={name: x, cases: {a: {}}}", "at least 2"),
        ("vary={name: x, cases: {a: {}, 'b · c': {}}}", "a name without"),
        ("vary={name: x, cases: {a: {}, b: {}}, logarithmic: true}", "logarithmic"),
        ("vary={name: x, place: recipe.steps, cases: {a: {}, b: {}}}", "place and values, or"),
        ("vary={name: x, values: [1, 2]}", "place and values, or cases"),
        ("vary={name: x}", "place and values, or cases"),
        ("vary={name: x, place: recipe.steps, values: {1: 10, '1': 20, 2: 30}}", "1.0 is given tw"),
        ("vary={name: x, place: recipe.steps, values: {1: 10, '1.0': 20, 2: 30}}", "given twice"),
        ("vary={name: x, place: recipe.steps, values: [1, 2, 1.0]}", "given twice"),
        (f"vary={{name: x, place: recipe.steps, values: [1, {2**53}, {2**53 + 1}]}}", "given twi"),
        ("vary={name: x, place: recipe.steps, values: {1_0: 1, 2: 2}}", "expected a number"),
        ("vary={name: x, place: recipe.steps, values: {'true': 1, 2: 2}}", "expected a number"),
        ("vary={name: x, cases: {a: {recipe.steps: 1, recipe: {}}, b: {}}}", "overlap"),
        ("scales={a: {recipe.steps: 1, recipe: {}}}", "'recipe.steps' and 'recipe' overlap"),
        ("scales={a: {measures: [{measure: accuracy-by-vew}]}}", "did you mean 'accuracy-by-view'"),
        ("scales={a: {models.0.name: cnn-smal}}", "did you mean 'cnn-small'"),
        ("models.00.label=x", "'00' should be an index"),
        ("recipe.steps=1_0", "recipe.steps: "),
        ("vary={name: x, cases: {a: {}, b: {recipe.stepz: 3}}}", "stepz"),
        *(
            (f"vary={{name: x, cases: {{a: {{}}, b: {{{place}: 1}}}}}}", f"'{place}' is common")
            for place in ("name", "version", "seeds", "seeds.0", "published", "scales.a", "vary.x")
        ),
        ("vary={name: x, place: seeds.0, values: [1, 2]}", "'seeds.0' is common"),
        ("vary={name: x, cases: {a: {}, b: {models.0.label: Net}}}", "by models.0.label"),
        ("vary={name: x, cases: {a: {}, b: {models: [{name: lenet5}]}}}", "labels of the models"),
        ("vary={name: x, cases: {a: {}, b: {recipe.steps: 0}}}", "greater than or equal"),
        ("recipe.augmentation=RandAugment", "a list of operations, such as [RandAugment]"),
        ("recipe.augmentation=[{RandAugment: {n: 1}, RandomInvert: {}}]", "one key"),
        (
            f"published=[{{{NUMBER}, at: 3}}]",
            "at 3 is no value or case of vary; known: none",
        ),
        (
            f"published=[{{{NUMBER}, rule: matched}}]",
            "'matched' section",
        ),
    ],
)
def test_wrong_values_are_named(change, message):
    with pytest.raises(UserError) as caught:
        load_benchmark("quick", parse_changes([change]))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400  # no whole file


@pytest.mark.parametrize(
    ("places", "message"),
    [
        (("recipe.steps", "recipe.steps"), "'recipe.steps' was given already"),
        (("recipe.steps", "recipe"), "'recipe.steps' and 'recipe' overlap"),
        (("models.0", "models.1.name", "models.0.name"), "'models.0' and 'models.0.name' overlap"),
    ],
)
def test_places_given_twice_are_refused(places, message):
    with pytest.raises(UserError, match=f"--set: {message}"):
        parse_changes([f"{place}=5" for place in places])
    parse_changes(["recipe.steps=1", "recipe.steps_more=1", "models.1=1", "models.10=1"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [", "not valid YAML: line 1"),
        ("- a\n- b", "expected a mapping"),
        ("name: x", "required"),
        ("!!python/object/apply:os.system ['true']", "not valid YAML"),
    ],
)
def test_broken_files_are_named(tmp_path, text, message):
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        load_benchmark(str(path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"models": [{"name": "cnn-smal"}]}, "did you mean 'cnn-small'"),
        ({"models": [{"name": "cnn-small", "arguments": {"widht": 3}}]}, "did you mean 'width'"),
        ({"models": [{"name": "cnn-small", "arguments": {"width": "wide"}}]}, "width: "),
        ({"models": [{"name": "nowhere.py:Net"}]}, "no file '.*nowhere.py'"),
        (
            {"models": [{"name": "capsbench.contracts:Batch", "arguments": {"a": 1}}]},
            "expected a subclass",
        ),
        ({"models": [{"name": "capsbench.contracts:Model"}]}, "is abstract"),
        ({"models": [{"name": "cnn-small", "arguments": {"width": -3}}]}, "width: .*equal to 1"),
        ({"models": [{"name": "capsnet-em", "arguments": {"iterations": 0}}]}, "iterations: "),
        (
            {"data": {"name": "capsbench.contracts:Batch", "arguments": {"a": 1}}},
            "not a subclass",
        ),
        ({"data": {"name": "capsbench.data.images:ImageDataModule"}}, "is abstract"),
        ({"models": [{"name": "capsnet-dr", "arguments": {"kernel": 31}}]}, "images of at least"),
        ({"data": {"name": "digit"}}, "did you mean 'digits'"),
        ({"data": {"name": "digits", "arguments": {"size": 3}}}, "argument of data module"),
    ],
)
def test_wrong_cells_are_refused_before_anything_is_trained(
    tmp_path, tiny_protocol, change, message
):
    path = tmp_path / "tiny.yaml"
    path.write_text(write_yaml({**tiny_protocol, **change}))
    with pytest.raises(UserError, match=message):
        plan(load_benchmark(str(path), trust_code=True))


def test_a_measure_appears_once(tmp_path, tiny_protocol):
    path = tmp_path / "tiny.yaml"
    path.write_text(write_yaml({**tiny_protocol, "measures": 2 * tiny_protocol["measures"]}))
    with pytest.raises(UserError, match="'accuracy-by-view' appears twice"):
        load_benchmark(str(path))


def test_paths_are_relative_to_the_file_and_those_of_changes_to_the_working_directory(
    tmp_path, tiny_protocol, tiny_file, monkeypatch
):
    there, here = tmp_path / "there", tmp_path / "here"
    for folder in (there, here):
        folder.mkdir()
        (folder / "net.py").write_text(tiny_file.read_text())
    content = {**tiny_protocol, "models": [{"name": "net.py:Tiny"}]}
    (there / "tiny.yaml").write_text(write_yaml(content))
    monkeypatch.chdir(here)
    for changes, folder in (({}, there), ({"models.0.name": "net.py:Tiny"}, here)):
        benchmark = load_benchmark("../there/tiny.yaml", changes)
        assert benchmark.models[0].label == "Tiny"
        cell = plan(benchmark)[0]
        path = Path(cell.model.removesuffix(":Tiny"))
        assert path.is_absolute()
        assert path.resolve() == folder / "net.py"


def test_unknown_models_of_a_benchmark_are_named():
    with pytest.raises(UserError, match="did you mean 'cnn-small'"):
        plan(load_benchmark("quick"), models=["cnn-smal"])
    with pytest.raises(UserError, match="known: 'CNN', 'CapsNet"):
        plan(load_benchmark("quick"), models=["zzz"])
    assert {cell.model for cell in plan(load_benchmark("quick"), models=["cnn-small"])} == {
        "cnn-small"
    }


def test_varied_values_and_own_recipes_make_cells():
    vary = {"name": "steps", "place": "recipe.batch_size", "values": {1: 8, 2: 16}}
    own = {"name": "lenet5", "recipe": {"learning_rate": 0.5}, "reason": "a test"}
    benchmark = load_benchmark("quick", {"vary": vary, "models.1": own, "seeds": [3]})
    cells = plan(benchmark, models=["CNN", "lenet5"])
    assert [(c.label, c.at, c.seed, c.title) for c in cells] == [
        ("CNN", 1, 3, "CNN · 1"),
        ("CNN", 2, 3, "CNN · 2"),
        ("lenet5", 1, 3, "lenet5 · 1"),
        ("lenet5", 2, 3, "lenet5 · 2"),
    ]
    assert [cell.recipe.batch_size for cell in cells] == [8, 16, 8, 16]
    assert {cell.recipe.learning_rate for cell in cells[:2]} == {0.005}
    assert {cell.recipe.learning_rate for cell in cells[2:]} == {0.5}


def test_cases_change_several_places_and_keep_their_names():
    cases = {
        "plain": {},
        "erased": {"recipe.steps": 7, "recipe.augmentation": ["RandomErasing"]},
        "narrow": {"models.0.arguments.width": 3},
    }
    changes = {"vary": {"name": "case", "cases": cases}, "seeds": [3]}
    benchmark = load_benchmark("quick", changes)
    assert list(variants(benchmark)) == [0, 1, 2]
    cells = plan(benchmark, models=["CNN"])
    assert [(c.at, c.case, c.title) for c in cells] == [
        (0, "plain", "CNN · plain"),
        (1, "erased", "CNN · erased"),
        (2, "narrow", "CNN · narrow"),
    ]
    assert [cell.recipe.steps for cell in cells] == [benchmark.recipe.steps, 7, 400]
    assert [len(cell.recipe.augmentation) for cell in cells] == [0, 1, 0]
    assert [cell.config.model.arguments["width"] for cell in cells] == [16, 16, 3]
    number = parse_yaml(f"{{{NUMBER}, at: erased}}")
    assert load_benchmark("quick", {**changes, "published": [number]}).published[0].at == "erased"
    with pytest.raises(UserError, match=r"at rased is no .* of vary; known: plain, erased, narrow"):
        load_benchmark("quick", {**changes, "published": [number | {"at": "rased"}]})


def test_a_model_may_have_an_augmentation_of_its_own():
    own = {"name": "lenet5", "recipe": {"augmentation": ["RandomErasing"]}, "reason": "a test"}
    benchmark = load_benchmark("quick", {"models.1": own, "recipe.augmentation": ["RandomInvert"]})
    cells = plan(benchmark, models=["CNN", "lenet5"])
    names = {cell.label: [each.name for each in cell.recipe.augmentation] for cell in cells}
    assert names == {"CNN": ["RandomInvert"], "lenet5": ["RandomErasing"]}


def test_a_followed_split_makes_another_training():
    plain, followed = (
        plan(load_benchmark("quick", changes))[0] for changes in ({}, {"follow": ["familiar"]})
    )
    assert plain.path != followed.path


def test_benchmarks_of_the_same_networks_share_their_trainings():
    short, full = (
        {(cell.label, cell.seed): cell.path for cell in plan(load_benchmark(name))}
        for name in ("toynorb-azimuth", "toynorb-equivariance")
    )
    assert len(short) == 15
    assert short.items() <= full.items()


def layered(*layers):
    entry = {
        "measure": "invariance-error",
        "grid": {"rotation": {"start": 90, "stop": 90, "step": 90}},
        "layers": list(layers),
    }
    return load_benchmark("quick", {"measures": [entry]})


def test_each_model_is_measured_on_its_own_layers():
    cells = plan(layered("hidden", "class poses", "probabilities"))
    measured = {
        cell.label: entry.layers
        for cell in cells
        for entry in cell.measures.values()
        if isinstance(entry, LayerMeasureConfig)
    }
    assert measured == {
        "CNN": ("hidden", "probabilities"),
        "CapsNet (dynamic routing)": ("class poses", "probabilities"),
        "Matrix capsules (EM routing)": ("class poses", "probabilities"),
    }


def test_missing_layers_are_named_before_anything_is_trained():
    with pytest.raises(UserError, match="'hiden'; did you mean 'hidden'"):
        plan(layered("hiden", "class poses"))


def test_a_model_without_the_layers_of_a_measure_is_planned():
    assert "CNN" in {cell.label for cell in plan(layered("class poses"))}
