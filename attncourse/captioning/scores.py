"""How good captions are: BLEU-1 to BLEU-4, ROUGE-L and CIDEr, by the scorers that captioning papers use.

They come from ``pycocoevalcap``, the COCO caption challenge's own code. That code splits sentences into words with a
Java program; we use ours (``attncourse.datasets.captions.words``), so that nothing but Python is needed: lower case, no
punctuation. METEOR and SPICE need Java and are left out.
"""

from collections.abc import Sequence

from attncourse.datasets.captions import words

MEASURES = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr")


def scores(sentences: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """Scores of one sentence per picture against its references: BLEU and ROUGE-L from 0 to 1, CIDEr from 0 to 10.

    BLEU is of the whole corpus: matches and lengths are added up over all sentences before they are divided, and of the
    references' lengths the closest counts. CIDEr weighs n-grams by how rare they are in these references; it is the
    variant CIDEr-D, which clips counts and punishes other lengths than the references'.

    Raises:
        ValueError: if there are no sentences, their number is not that of the references, or one has no reference.
        ModuleNotFoundError: if pycocoevalcap is not installed.
    """
    try:
        from pycocoevalcap.bleu.bleu import Bleu
        from pycocoevalcap.cider.cider import Cider
        from pycocoevalcap.rouge.rouge import Rouge
    except ModuleNotFoundError:
        raise ModuleNotFoundError("scores need pycocoevalcap: pip install 'attncourse[captions]'") from None
    if not sentences or len(sentences) != len(references) or not all(references):
        raise ValueError(f"each sentence needs its references, and there must be one: got {len(sentences)} sentences "
                         f"and {len(references)} lists of references, {sum(not each for each in references)} empty")
    said = {number: [" ".join(words(sentence))] for number, sentence in enumerate(sentences)}
    true = {number: [" ".join(words(reference)) for reference in each] for number, each in enumerate(references)}
    bleu = Bleu(4).compute_score(true, said, verbose=0)[0]
    values = [*bleu, Rouge().compute_score(true, said)[0], Cider().compute_score(true, said)[0]]
    return dict(zip(MEASURES, map(float, values)))
