"""`lmchat eval`: own prompts for several models, with checks of their answers.

Answers and judgements are kept in the cache folder, so the same command again asks nothing.
Prompts are sent one at a time: two at once would share the speed of the server.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from msgspec import Struct, convert
from msgspec.structs import asdict, replace

from lmchat.cli.context import Context
from lmchat.cli.eval_cases import Case, read_cases
from lmchat.cli.eval_report import (
    CaseAnswer,
    ModelAnswer,
    figures_of,
    html_report,
    markdown_report,
    text_report,
)
from lmchat.cli.jobs import JobProgress, SingleAnswer, answer_of, single_request
from lmchat.cli.models import fetch_models, load_if_needed, model_named
from lmchat.cli.output import failure_detail, rounded
from lmchat.cli.sampling import sampling_layers
from lmchat.cli.target import find_target
from lmchat.cli.wiring import Runtime, open_runtime
from lmchat.domain.message import ChatMessage
from lmchat.domain.model_names import cannot_chat
from lmchat.domain.request import ChatRequest
from lmchat.domain.server import ModelInfo, ModelList, Target
from lmchat.domain.session import MessagePath
from lmchat.errors import AnswerUnfit, FileExists, WrongUse
from lmchat.files import expanded_path, write_atomically, write_new_file
from lmchat.services.decision import decide
from lmchat.services.sampling_layers import SamplingLayers
from lmchat.services.turn_start import start_at_end

Kept = TypeVar("Kept", bound=Struct)

_YES_OR_NO = ("yes", "no")
_JUDGED = """\
{question}

The prompt was:
{prompt}

The answer is:
{reply}"""


async def evaluate(context: Context) -> int:
    """Ask all models all prompts, and print how many answers pass; return 1 if one fails, else 0.

    Raises an error before anything is asked if the file, the report or a model cannot be used.
    """
    options = context.options
    layers = sampling_layers(context)
    report_path = _report_path(context)
    cases = await read_cases(expanded_path(options.file))

    async with open_runtime(context, is_saved=False) as runtime:
        models, judge = await _models(context, runtime)
        cache = _Cache(context)
        evaluation = _Evaluation(runtime, layers, cache, judge, context)
        count = len(models) * len(cases) * options.runs
        answers: list[CaseAnswer] = []
        with JobProgress(count, prints_rows=False) as progress:
            for model in models:
                for case in cases:
                    for run in range(1, options.runs + 1):
                        answer = await evaluation.answer(model, case, run)
                        answers.append(answer)
                        progress.count(is_failed=bool(answer.failed), tokens=answer.tokens or 0)

    figures = [figures_of(model.model_id, answers) for model in models]
    if report_path is not None:
        report = html_report if report_path.suffix == ".html" else markdown_report
        text = report(figures, answers)
        await asyncio.to_thread(write_new_file, report_path, text, is_forced=options.force)
    if context.output.is_json:
        rows = [answer.row for answer in answers]
        context.output.print_json({"models": figures, "cases": rows})
    else:
        context.output.print_lines(text_report(figures, answers))
    return 1 if any(answer.failed for answer in answers) else 0


def _report_path(context: Context) -> Path | None:
    """Return the file of `-o`, None without this option.

    Raises an error, before anything is asked, if its name does not end in .md or .html, or if it
    exists and `--force` is not used.
    """
    options = context.options
    if not options.output:
        return None
    path = expanded_path(options.output)
    if path.suffix not in (".md", ".html"):
        raise WrongUse("A report is Markdown or HTML.", hint="Name it NAME.md or NAME.html.")
    if path.exists() and not options.force:
        hint = "Choose another name, or overwrite it with --force."
        raise FileExists(f"{path} already exists.", hint=hint)
    return path


async def _models(context: Context, runtime: Runtime) -> tuple[list[ModelInfo], ModelInfo | None]:
    """Return the models to ask, and the model that judges; None without `--judge`.

    The models are those of `-m`, each once. Without it, it is the one that `lmchat ask` would use,
    and the judge has to be a model of the same server.
    """
    options = context.options
    if options.models:
        model_list = await fetch_models(runtime, is_refresh=True)
        names: Sequence[str] = options.models
    else:
        target = await find_target(
            runtime.backend, runtime.settings, runtime.remembered, context.output.note
        )
        model_list = await runtime.backend.models(target.endpoint, is_refresh=True)
        names = [target.model_id]
    models = [_model_for_chat(name, model_list) for name in names]
    models = [model for index, model in enumerate(models) if model not in models[:index]]
    judge = _model_for_chat(options.judge, model_list) if options.judge else None
    return models, judge


def _model_for_chat(name: str, model_list: ModelList) -> ModelInfo:
    model = model_named(name, model_list)
    if not model.can_chat:
        raise cannot_chat(model)
    return model


class _Judgement(Struct):
    """What a judge has chosen."""

    choice: str  # one of `_YES_OR_NO`


class _Cache:
    """Answers and judgements of earlier runs, each in a file of JSON.

    A key, which names the file, is a hash of all that decides the answer. `--fresh` reads none of
    them, and `--temporary` writes none.
    """

    def __init__(self, context: Context) -> None:
        self._folder = context.paths.cache_dir / "eval"
        self._is_read = not context.options.fresh
        self._is_written = not context.options.temporary

    def read(self, key: str, kept_type: type[Kept]) -> Kept | None:
        """Return what is kept under a key; None if nothing of this type can be read there."""
        if not self._is_read:
            return None
        try:
            kept = json.loads((self._folder / f"{key}.json").read_bytes())
            return convert(kept, kept_type)
        except (OSError, ValueError, RecursionError):  # msgspec's error is a `ValueError`
            return None

    def write(self, key: str, kept: Struct) -> None:
        if self._is_written:
            write_atomically(self._folder / f"{key}.json", json.dumps(asdict(kept)))


def _hash_of(*decisive: object) -> str:
    text = json.dumps(decisive, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class _Evaluation:
    """Asks models, and checks their answers."""

    def __init__(
        self,
        runtime: Runtime,
        layers: SamplingLayers,
        cache: _Cache,
        judge: ModelInfo | None,
        context: Context,
    ) -> None:
        self._runtime = runtime
        self._backend = runtime.backend
        self._layers = layers
        self._cache = cache
        self._judge = judge  # None: each model judges its own answers
        self._output = context.output
        self._loaded: set[tuple[str, str]] = set()  # models that were loaded, with their servers

    async def answer(self, model: ModelInfo, case: Case, run: int) -> CaseAnswer:
        """Return the answer of a model to a case, with the checks that it fails.

        If the cache has the answer, the model is not asked. An answer that ends with an error is
        not kept, and fails the check `answer` instead of those of the case.
        """
        request = self._request(model, case)
        key = self._key_of(request, run)
        answered = self._cache.read(key, ModelAnswer)
        detail = None  # the error that has ended the answer, as JSON
        if answered is None:
            await self._load(model)
            answer = await answer_of(self._backend, request, model)
            answered = _model_answer(answer)
            if answer.error is None:
                self._cache.write(key, answered)
            else:
                detail = failure_detail(answer.error)
        checked = CaseAnswer(
            model=model.model_id, case=case, run=run, detail=detail, **asdict(answered)
        )
        if detail is None:
            checked.misfits = await self._misfits(model, request, checked)
        else:
            checked.misfits = {"answer": []}
        return checked

    def _request(self, model: ModelInfo, case: Case) -> ChatRequest:
        """Return the request that asks a model a case.

        It has the messages of the case, or else the system prompt, the prompt and the files with
        which a new session would begin.
        """
        chat = self._runtime.settings.chat
        messages: tuple[ChatMessage, ...] = case.messages
        if not messages:
            system = chat.system_prompt if case.system_prompt is None else case.system_prompt
            messages = start_at_end(MessagePath(()), case.prompt, case.files, system).prompts
        request = single_request(
            model,
            messages,
            self._layers.values(case.options, model.model_id),
            keep_loaded_s=chat.keep_loaded_s,
            output=case.schema.output if case.schema else None,
        )
        files = {file.part.digest: file.data for file in case.files}
        return replace(request, files=files, is_batch=True)

    def _key_of(self, request: ChatRequest, run: int) -> str:
        """Return the key under which the cache has the answer to a request.

        A seed that lmchat has drawn is left out: each run of the command draws another one.
        """
        options = request.sampling.options  # a new dict with each access
        if request.has_drawn_seed:
            options.pop("seed", None)
        messages = [[message.role, message.text] for message in request.messages]
        schema = getattr(request.output, "schema", None)
        settings = [sorted(request.files), options, schema]
        return _hash_of(request.endpoint.url, request.model, messages, settings, run)

    async def _load(self, model: ModelInfo) -> None:
        """Load a model before it is first asked, so that no answer waits for it."""
        name = (model.endpoint.url, model.model_id)
        if name not in self._loaded:
            self._loaded.add(name)
            await load_if_needed(self._runtime, model, self._output)

    async def _misfits(
        self, model: ModelInfo, request: ChatRequest, answer: CaseAnswer
    ) -> dict[str, list[str]]:
        """Return the checks that an answer fails, each with the texts or questions it fails at.

        Raises `LMChatError` if the judge gives no judgement: neither "passed" nor "failed" would be
        true of the answer then.
        """
        case = answer.case
        misfits = case.misfits(answer.reply)
        if case.schema is not None:
            try:
                await case.schema.value_in(
                    answer.reply,
                    thought=answer.reasoning,
                    finish_reason=answer.finish_reason,
                    is_refusal=answer.is_refusal,
                )
            except AnswerUnfit:
                misfits["schema"] = []  # it fails as a whole
        prompt = "\n\n".join(message.text for message in request.messages)
        for question in case.judged:
            judged = _JUDGED.format(question=question, prompt=prompt, reply=answer.reply)
            if not await self._is_yes(self._judge or model, judged):
                misfits.setdefault("judge", []).append(question)
        return misfits

    async def _is_yes(self, judge: ModelInfo, question: str) -> bool:
        """Return whether a model answers a question with yes; its answer is kept in the cache."""
        key = _hash_of("judge", judge.endpoint.url, judge.model_id, question)
        kept = self._cache.read(key, _Judgement)
        if kept is None:
            await self._load(judge)
            target = Target(endpoint=judge.endpoint, product=judge.product, model=judge)
            chosen = await decide(self._backend, target, question, _YES_OR_NO, is_batch=True)
            kept = _Judgement(chosen.choice)
            self._cache.write(key, kept)
        return kept.choice == _YES_OR_NO[0]


def _model_answer(answer: SingleAnswer) -> ModelAnswer:
    """Return the part of an answer that the cache keeps."""
    receipt = answer.receipt
    return ModelAnswer(
        reply=answer.reply,
        reasoning=answer.reasoning,
        finish_reason=receipt.finish_reason,
        is_refusal=answer.is_refusal,
        ttft_ms=rounded(receipt.ttft_ms),
        tokens_per_second=rounded(receipt.tokens_per_second),
        tokens=receipt.completion_tokens,
        elapsed_ms=rounded(receipt.elapsed_ms),
    )
