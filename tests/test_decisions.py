"""The closed loop: quotes drawn by a policy, logged, bought or not, and read back as offers with exact propensities."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from policies import LADDER, tiny_policy

from pipelines import clean, features, graph, ingest
from pipelines.config import Config
from pipelines.errors import InputError
from pipelines.files import read_json
from pipelines.manifest import GRAPH, Manifest
from pipelines.packing import registered_name
from pipelines.policy import FALLBACK_WORDS, QUOTE, TERMS_OF_SALE
from pipelines.pricing import Guardrails
from pipelines.serving import chance
from pipelines.serving.decisions import Decision, DecisionLog, Outcome
from pipelines.serving.log_settings import LogSettings
from pipelines.sources import DecisionsSource, OffersSource, Roles, decision_log, decisions
from pipelines.tables import WINDOWS, OffersInfo

DAY = 86_400.0
START = 1_772_445_600.0  # 2026-03-02T10:00:00Z
KEY = b"k" * 32
LOG = Path("data/decisions")
SOURCE = DecisionsSource("decisions", "decisions", attribution_days=2.0)
QUICK = LogSettings(sync_seconds=0.05)
RAILS = Guardrails(minor_unit=0.01, exploration=0.3)


pytestmark = pytest.mark.usefixtures("workplace")


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Manifest, Any]:
    """A tiny policy that explores, with its session."""
    place = tmp_path_factory.mktemp("policy")
    manifest = tiny_policy(place, guardrails=RAILS)
    return manifest, graph.session(place / GRAPH)


def quoted(policy: tuple[Manifest, Any], count: int = 600, start: float = START) -> list[Decision]:
    """Return decisions of `count` requests, one a minute, as the endpoint would log them: `u` by shopper, item, day."""
    manifest, session = policy
    rng = np.random.default_rng(int(start) % 1000)
    shopper, item = rng.integers(0, count // 4, count), rng.integers(0, 9, count)
    when = start + 60.0 * np.arange(count)
    inputs = pd.DataFrame(
        {
            "list_price": np.round(rng.uniform(0.8, 6, count), 2),  # so small that cents blur the rungs
            "u": [chance.u_of(KEY, str(s), str(i), t) for s, i, t in zip(shopper, item, when, strict=True)],
            "days_since_purchase": rng.integers(0, 90, count).astype(float),
            "session_dwell": np.where(rng.random(count) < 0.2, np.nan, rng.uniform(0, 300, count)),
            "item_rating": rng.uniform(1, 5, count),
            "country": rng.choice(np.array(["DE", "中国", ""], dtype=object), count),
            "category": rng.choice(np.array(["garden", "toys"], dtype=object), count),
        }
    )
    inputs = inputs.reindex(columns=[field.name for field in manifest.inputs])  # a cost was not given
    told = graph.run(session, inputs, QUOTE)
    return [
        Decision(
            quote_id=f"q{int(start)}-{n}", time=float(when[n]), shopper=chance.pseudonym(KEY, str(shopper[n])),
            item=f"sku-{item[n]}", session=None, inputs=row, rung=manifest.terms.ladder[int(told["rung"][n])],
            price=float(told["price"][n]), list_price=row["list_price"], propensity=float(told["propensity"][n]),
            fallback=told["fallback"][n] or None, policy=manifest.name, version="1",
            digest=manifest.graph_sha256[:12], repeat=False, personalised=True,
        )
        for n, row in enumerate(inputs.to_dict("records"))
    ]  # fmt: skip


def logged(policy: tuple[Manifest, Any], shown: Sequence[Decision], outcomes: Sequence[Outcome] = ()) -> None:
    """Write a log, as one worker would."""
    log = DecisionLog(LOG, "0", QUICK)
    log.introduce(policy[0], policy[0].graph_sha256[:12])
    assert all(log.quoted(*shown[n : n + 100]).wait(10) for n in range(0, len(shown), 100))
    assert not outcomes or log.outcome(*outcomes).wait(10)
    log.close()


def config(source: DecisionsSource | OffersSource = SOURCE) -> Config:
    """Return a configuration for `source` with everything else as it comes."""
    return Config(source, Guardrails(), {}, ("gbm",), seed=7)


def chain(source: DecisionsSource | OffersSource = SOURCE) -> tuple[pd.DataFrame, OffersInfo]:
    """Return the offers that ingest, clean and features make, and what they are."""
    for stage in (ingest, clean, features):
        stage.main(config(source))
    parts = [pd.read_parquet(f"data/offers/{name}.parquet") for name in WINDOWS]
    return pd.concat(parts, ignore_index=True), OffersInfo.read(Path("data/offers/offers.json"))


def buying(shown: Sequence[Decision], seed: int = 0) -> list[Outcome]:
    """Return purchases, an hour after their quotes: cheap ones sell better."""
    rng = np.random.default_rng(seed)
    sold = [d for d in shown if rng.random() < 0.9 - 0.6 * (d["rung"] or 1.0)]
    return [Outcome(d["quote_id"], d["time"] + 3600) for d in sold]


def test_what_was_decided_comes_back_as_offers(policy: tuple[Manifest, Any]) -> None:
    """Every mature decision is an offer with its rung, price, propensity, context and outcome, exactly."""
    shown = quoted(policy)
    outcomes = buying(shown)
    end = Outcome(shown[0]["quote_id"], START + 30 * DAY, bought=False)  # far too late to count
    logged(policy, shown, [*outcomes, end])
    offers, info = chain()
    offers = offers.set_index("offer_id")
    by_id = {d["quote_id"]: d for d in shown}
    assert set(by_id) == set(offers.index)
    sold = {outcome.quote_id for outcome in outcomes}
    for quote_id, offer in offers.iterrows():
        d = by_id[str(quote_id)]
        assert (d["rung"], d["price"], d["propensity"]) == (
            info.ladder[offer["rung"]], offer["price"], offer["propensity"]
        )  # fmt: skip
        assert (d["shopper"], d["item"], quote_id in sold) == (
            offer["shopper_id"], offer["item_id"], bool(offer["bought"])
        )  # fmt: skip
        assert d["time"] == pytest.approx(offer["time"].timestamp(), abs=1e-5)
        for name in (*info.numeric, *info.categorical):
            np.testing.assert_equal(offer[name], d["inputs"][name])
    assert (LADDER, True, "EUR", "decisions") == (info.ladder, info.propensity_logged, info.currency, info.source)
    assert ("days_since_purchase", "session_dwell", "item_rating") == info.numeric
    assert {"days_since_purchase", "session_dwell", "country"} == set(info.personal)
    assert 0.4 == info.cost_share
    # prices in cents would not have told the rung
    misread = offers["multiplier"].to_numpy()[:, None] - np.array(LADDER)[None, :]
    assert (np.abs(misread).argmin(axis=1) == offers["rung"]).mean() < 1 or np.abs(misread).min(axis=1).max() > 1e-4


def test_propensities_are_exact(policy: tuple[Manifest, Any]) -> None:
    """Weighted by 1 / propensity each rung was shown to everybody once, in the mean: what a wrong one would break."""
    shown = quoted(policy, 6000)
    logged(policy, shown, [*buying(shown), Outcome("nobody", START + 20 * DAY)])
    offers, info = chain()
    assert 6000 == len(offers)
    greedy = graph.run(policy[1], pd.DataFrame([d["inputs"] for d in shown]).assign(u=np.nan), ("ladder_propensity",))
    possible = greedy["ladder_propensity"].sum(axis=0)
    for rung in range(len(info.ladder)):
        at = offers[offers["rung"] == rung]
        reachable = (greedy["ladder_propensity"][:, rung] > 0).sum()
        assert (len(at) > 0) == (possible[rung] > 0)
        error = 4 * np.sqrt((1 / at["propensity"] ** 2).sum()) + 1e-9
        assert abs((1 / at["propensity"]).sum() - reachable) < error
    wrong = 2 * offers["propensity"]
    assert abs((1 / wrong).sum() - sum((greedy["ladder_propensity"] > 0).sum(axis=0))) > 1000


def test_it_is_what_a_table_of_offers_would_be(policy: tuple[Manifest, Any]) -> None:
    """The same decisions written into a table of one's own, its columns declared, make the same offers."""
    shown = quoted(policy)
    outcomes = buying(shown)
    logged(policy, shown, [*outcomes, Outcome("later", START + 30 * DAY)])
    offers, info = chain()
    sold = {outcome.quote_id for outcome in outcomes}
    context = [{n: d["inputs"][n] for n in (*info.numeric, *info.categorical)} for d in shown]
    table = pd.DataFrame(context).assign(
        id=[d["quote_id"] for d in shown], who=[d["shopper"] for d in shown], what=[d["item"] for d in shown],
        at=[d["time"] for d in shown], rrp=[d["list_price"] for d in shown], paid=[d["price"] for d in shown],
        p=[d["propensity"] for d in shown], meant=[d["rung"] for d in shown],
        sold=[d["quote_id"] in sold for d in shown],
    )  # fmt: skip
    table.to_parquet("mine.parquet")
    roles = Roles(
        "paid",
        "sold",
        shopper="who",
        item="what",
        time="at",
        list_price="rrp",
        propensity="p",
        offer="id",
        rung="meant",
    )
    own, described = chain(
        OffersSource("offers", "offers", path="mine.parquet", columns=roles, cost_share=0.4, rungs=LADDER)
    )
    pd.testing.assert_frame_equal(own, offers)
    assert (described.ladder, described.numeric) == (info.ladder, info.numeric)


def test_the_next_policy_is_a_version_of_the_same_model(policy: tuple[Manifest, Any]) -> None:
    """What is learned from the decisions of `pricing` is registered as `pricing`, and must beat what prices now."""
    shown = quoted(policy)
    logged(policy, shown, [*buying(shown), Outcome("later", START + 30 * DAY)])
    _, info = chain()
    assert "pricing" == info.model == registered_name(info.source, info.model)
    assert "pricing-offers" == registered_name("offers")


@dataclass(frozen=True)
class Case:
    """A change to the log of four decisions, and what becomes of the first."""

    name: str
    change: Callable[[list[Decision]], None]
    outcomes: Callable[[list[Decision]], list[Outcome]]
    reason: str | None  # why it is no offer
    bought: int = 0


def _set(**values: Any) -> Callable[[list[Decision]], None]:
    return lambda shown: shown[0].update(values)  # type: ignore[typeddict-item]


def _after(hours: float, bought: bool = True, quote: str = "") -> Callable[[list[Decision]], list[Outcome]]:
    return lambda d: [Outcome(quote or d[0]["quote_id"], d[0]["time"] + hours * 3600, bought)]


def _both(*several: Callable[[list[Decision]], list[Outcome]]) -> Callable[[list[Decision]], list[Outcome]]:
    return lambda d: [outcome for one in several for outcome in one(d)]


NOTHING = _set()
CASES = [
    Case("bought at once", NOTHING, _after(0), None, 1),
    Case("bought at the end of the window", NOTHING, _after(48), None, 1),
    Case("bought after the window", NOTHING, _after(48.01), None, 0),
    Case("bought and told twice", NOTHING, _both(_after(1), _after(1)), None, 1),
    Case("bought and cancelled", NOTHING, _both(_after(1), _after(2, False)), None, 0),
    Case("cancelled and bought, told in the other order", NOTHING, _both(_after(3), _after(2, False)), None, 1),
    Case("cancelled after the window", NOTHING, _both(_after(1), _after(49, False)), None, 1),
    Case("by a clock that is slow", NOTHING, _after(-0.01), None, 1),
    Case("told of long before it was quoted", NOTHING, _after(-1.01), None, 0),
    Case("nothing was told", NOTHING, lambda _: [], None, 0),
    Case("younger than the window", _set(time=START + 30 * DAY - 47 * 3600), _after(1), "young"),
    Case("as old as the window", _set(time=START + 30 * DAY - 48 * 3600), _after(1), None, 1),
    Case("a repeat", _set(repeat=True, repeat_of="q-2"), lambda _: [], "repeats"),
    Case("a deadline", _set(fallback="deadline", propensity=1.0), _after(1), "not_chosen"),
    Case("no propensity", _set(propensity=None), _after(1), "not_chosen"),
    Case("no rung is admissible", _set(fallback="no_admissible_price", propensity=1.0), _after(1), None, 1),
    Case("no price", _set(price=None), _after(1), "incomplete"),
    Case("an unknown policy", _set(digest="somebody"), _after(1), "other_policy"),
    Case("the same id twice", _set(quote_id="q-1"), lambda _: [], "told_twice"),
]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_which_decisions_are_offers(policy: tuple[Manifest, Any], case: Case) -> None:
    """Each reason to leave a decision out is counted by its name; each kind of outcome counts as it should."""
    shown = quoted(policy, 8)
    for n, decision in enumerate(shown):
        decision["quote_id"] = f"q-{n}"
    case.change(shown)
    others = [Outcome("q-3", shown[3]["time"]), Outcome("nobody", START + 30 * DAY)]
    logged(policy, shown, [*case.outcomes(shown), *others])
    table, told = decisions.read(SOURCE)
    found = table.set_index("offer_id")["bought"]
    assert ({case.reason: 1} if case.reason else {}) == {k: n for k, n in told["left_out"].items() if n}
    assert 1 == found["q-3"]
    assert 1 == told["outcomes"]["unknown_quote"]
    if case.reason is None:
        assert (8, case.bought) == (len(table), found[shown[0]["quote_id"]])


def test_a_purchase_at_a_repeated_price_belongs_to_the_first_quote(policy: tuple[Manifest, Any]) -> None:
    """Through any number of repeats, and only once."""
    shown = quoted(policy, 6)
    for decision, first in ((shown[1], shown[0]), (shown[2], shown[1])):
        decision.update(repeat=True, repeat_of=first["quote_id"])
    logged(policy, shown, [Outcome(shown[2]["quote_id"], START + 7200), Outcome("later", START + 30 * DAY)])
    table, told = decisions.read(SOURCE)
    assert 2 == told["left_out"]["repeats"]
    assert [1, 0, 0, 0] == table["bought"].tolist()


def test_the_newest_record_says_what_is_known(policy: tuple[Manifest, Any]) -> None:
    """Reading twice gives the same; a set `as_of` takes the place of the newest record."""
    shown = quoted(policy)
    logged(policy, shown, [Outcome("later", START + 2 * DAY + 3600)])
    table, told = decisions.read(SOURCE)
    assert ("2026-03-04T11:00:00+00:00", 61) == (told["as_of"], len(table))
    assert 600 - 61 == told["left_out"]["young"]
    pd.testing.assert_frame_equal(table, decisions.read(SOURCE)[0])
    later = decisions.read(replace(SOURCE, as_of="2026-03-04T12:00:00Z"))[0]
    assert 121 == len(later)


def test_segments_of_several_workers_and_policies(policy: tuple[Manifest, Any], tmp_path: Path) -> None:
    """Decisions of all workers and of two policies of one model are one table, with the inputs of both."""
    first = quoted(policy, 40)
    logged(policy, first)
    manifest = policy[0]
    extra = replace(manifest.inputs[-1], name="colour")
    newer = replace(manifest, graph_sha256="f" * 64, name="newer", inputs=(*manifest.inputs, extra))
    second = [
        {**d, "digest": "f" * 12, "inputs": {**d["inputs"], "colour": "red"}} for d in quoted(policy, 40, START + DAY)
    ]
    log = DecisionLog(LOG, "1", QUICK)
    log.introduce(newer, "f" * 12)
    assert log.quoted(*second, *[]).wait(5)  # type: ignore[arg-type]
    assert log.outcome(Outcome(first[0]["quote_id"], START), Outcome("later", START + 30 * DAY)).wait(5)
    log.close()
    table, told = decisions.read(SOURCE)
    assert {"tiny", "newer"} == set(told["policies"].values())
    assert (40, 40) == (table["colour"].isna().sum(), (table["colour"] == "red").sum())


def test_what_is_being_written_can_be_read(policy: tuple[Manifest, Any]) -> None:
    """Ingest takes sealed segments alone, so that the same data give the same offers; a reader may ask for more."""
    log = DecisionLog(LOG, "0", QUICK)
    log.introduce(policy[0], policy[0].graph_sha256[:12])
    assert log.quoted(*quoted(policy, 30)).wait(5)
    assert 0 == len(decision_log.read(LOG).decisions)
    assert 30 == len(decision_log.read(LOG, unsealed=True).decisions)
    with pytest.raises(InputError, match="no decision of a known policy in its sealed segments yet"):
        decisions.read(SOURCE)
    log.close()
    assert 30 == len(decision_log.read(LOG).decisions)


def test_a_record_that_does_not_fit_is_counted(policy: tuple[Manifest, Any]) -> None:
    """A word where a number belongs spoils that record alone."""
    shown = quoted(policy, 20)
    shown[3]["price"] = "cheap"  # type: ignore[typeddict-item]
    shown[4]["inputs"] = {**shown[4]["inputs"], "item_rating": "five"}
    logged(policy, shown, [Outcome("later", START + 30 * DAY)])
    table, told = decisions.read(SOURCE)
    assert (18, 2) == (len(table), told["left_out"]["unreadable"])


def test_nobody_is_named(policy: tuple[Manifest, Any]) -> None:
    """Where a request named no shopper or item the decision counts as one of its own, and the assumptions say so."""
    shown = quoted(policy)
    for decision in shown[:50]:
        decision.update(shopper=None, item=None)
    logged(policy, shown, [*buying(shown), Outcome("later", START + 30 * DAY)])
    offers, info = chain()
    unnamed = offers[offers["item_id"] == "item"]
    assert 50 == len(unnamed) == unnamed["shopper_id"].nunique()
    assert "50 decisions named no shopper" in "\n".join(info.assumptions)
    assert "counts as not bought; those of less than that before 2026-04-01" in "\n".join(info.assumptions)


def test_ingest_says_what_it_left_out(policy: tuple[Manifest, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """The stage prints offers, purchases and reasons, and keeps them beside the table."""
    shown = quoted(policy)
    outcomes = buying(shown)
    logged(policy, shown, [*outcomes, Outcome("later", START + 2 * DAY + 3600)])
    ingest.main(config())
    sold = sum(o.time <= START + 2 * 3600 for o in outcomes)  # of those an hour old at the end of what is known
    told = capsys.readouterr().out
    assert told.startswith(f"ingest decisions: 61 offers, {sold} bought; left out: young 539\n")
    assert told.endswith(
        f"of {len(outcomes) + 1:,} outcomes these count for no offer: unknown_quote 1 (docs/decisions.md)\n"
    )
    told = read_json(Path("data/raw/decisions.json"))
    assert (61, sold, 539) == (told["offers"], told["outcomes"]["bought"], told["left_out"]["young"])
    assert {"known": False} == read_json(Path("data/truth/truth.json"))


def test_settings_of_inputs(policy: tuple[Manifest, Any]) -> None:
    """Protected inputs reach nothing, `personal` may be said anew, and a wrong name is told."""
    logged(policy, quoted(policy, 30), [Outcome("later", START + 30 * DAY)])
    table, told = decisions.read(replace(SOURCE, protected=("country",), personal=("item_rating",)))
    assert "country" not in table
    assert ["item_rating"] == told["personal"]
    with pytest.raises(InputError, match=r"source.protected 'contry' is no input of pricing \(did you mean 'country'"):
        decisions.read(replace(SOURCE, protected=("contry",)))
    with pytest.raises(InputError, match=r"no decision of source.model=prices \(did you mean 'pricing'"):
        decisions.read(replace(SOURCE, model="prices"))


def test_where_there_is_no_log(policy: tuple[Manifest, Any]) -> None:
    """No folder, and decisions that are all young, say what to do."""
    with pytest.raises(InputError, match=r"data/decisions is missing: the endpoint writes it"):
        decisions.read(SOURCE)
    logged(policy, quoted(policy, 30))
    with pytest.raises(InputError, match=r"no decision of pricing is an offer yet \(young 30\): .* 2 days after it"):
        decisions.read(SOURCE)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"attribution_days": 0.0}, "source.attribution_days=0.0 must lie between"),
        ({"as_of": "2026-03-02"}, "source.as_of='2026-03-02' must be a time with its zone"),
        ({"as_of": "soon"}, "source.as_of='soon' must be"),
        ({"rungs": (0.8, 1.0)}, "source.rungs is no setting of a decision log"),
    ],
)
def test_settings_refuse_nonsense(wrong: dict, message: str) -> None:
    """A window that is none and a time without a zone name themselves."""
    with pytest.raises(InputError, match=message):
        DecisionsSource("decisions", **wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"quote_id": ""}, "quote_id='' must be the id of a quote"),
        ({"time": float("nan")}, "time=nan must be seconds"),
        ({"time": "now"}, "time='now' must be seconds"),
        ({"bought": 1}, "bought=1 must be true or false"),
        ({"quantity": 0}, "quantity=0 must be a positive number"),
    ],
)
def test_outcomes_refuse_nonsense(wrong: dict, message: str) -> None:
    """What is no quote, time, truth value or number of pieces is refused with its value."""
    with pytest.raises(InputError, match=message):
        Outcome(**{"quote_id": "q", "time": START, **wrong})


def test_words_that_other_modules_have_too() -> None:
    """The reader knows the policy's terms of sale and its words for a fallback, without importing pricing."""
    assert TERMS_OF_SALE == decisions.RESERVED_INPUTS
    assert FALLBACK_WORDS == decisions.CHOSEN
    assert json.loads(json.dumps(asdict(Outcome("q", 1.0)))) == asdict(Outcome("q", 1.0))
