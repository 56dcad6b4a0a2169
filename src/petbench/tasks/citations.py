"""BibTeX of GLUE and its parts."""
# ruff: noqa: E501 (a BibTeX field is one line)

from collections.abc import Mapping

BIBTEX: Mapping[str, str] = {
    "wang2019glue": """@inproceedings{wang2019glue,
  title = {{GLUE}: A Multi-Task Benchmark and Analysis Platform for Natural Language Understanding},
  author = {Wang, Alex and Singh, Amanpreet and Michael, Julian and Hill, Felix and Levy, Omer and Bowman, Samuel R.},
  booktitle = {International Conference on Learning Representations},
  year = {2019}
}""",
    "warstadt2019cola": """@article{warstadt2019cola,
  title = {Neural Network Acceptability Judgments},
  author = {Warstadt, Alex and Singh, Amanpreet and Bowman, Samuel R.},
  journal = {Transactions of the Association for Computational Linguistics},
  volume = {7},
  pages = {625--641},
  year = {2019}
}""",
    "socher2013sst": """@inproceedings{socher2013sst,
  title = {Recursive Deep Models for Semantic Compositionality Over a Sentiment Treebank},
  author = {Socher, Richard and Perelygin, Alex and Wu, Jean and Chuang, Jason and Manning, Christopher D. and Ng, Andrew and Potts, Christopher},
  booktitle = {Empirical Methods in Natural Language Processing},
  pages = {1631--1642},
  year = {2013}
}""",
    "dolan2005mrpc": """@inproceedings{dolan2005mrpc,
  title = {Automatically Constructing a Corpus of Sentential Paraphrases},
  author = {Dolan, William B. and Brockett, Chris},
  booktitle = {International Workshop on Paraphrasing},
  year = {2005}
}""",
    "cer2017stsb": """@inproceedings{cer2017stsb,
  title = {{SemEval}-2017 Task 1: Semantic Textual Similarity Multilingual and Crosslingual Focused Evaluation},
  author = {Cer, Daniel and Diab, Mona and Agirre, Eneko and Lopez-Gazpio, I{\\~n}igo and Specia, Lucia},
  booktitle = {International Workshop on Semantic Evaluation},
  pages = {1--14},
  year = {2017}
}""",
    "iyer2017qqp": """@misc{iyer2017qqp,
  title = {First {Quora} Dataset Release: Question Pairs},
  author = {Iyer, Shankar and Dandekar, Nikhil and Csernai, Korn{\\'e}l},
  year = {2017}
}""",
    "williams2018mnli": """@inproceedings{williams2018mnli,
  title = {A Broad-Coverage Challenge Corpus for Sentence Understanding through Inference},
  author = {Williams, Adina and Nangia, Nikita and Bowman, Samuel R.},
  booktitle = {North American Chapter of the Association for Computational Linguistics},
  pages = {1112--1122},
  year = {2018}
}""",
    "rajpurkar2016squad": """@inproceedings{rajpurkar2016squad,
  title = {{SQuAD}: 100,000+ Questions for Machine Comprehension of Text},
  author = {Rajpurkar, Pranav and Zhang, Jian and Lopyrev, Konstantin and Liang, Percy},
  booktitle = {Empirical Methods in Natural Language Processing},
  pages = {2383--2392},
  year = {2016}
}""",
    "dagan2005rte": """@inproceedings{dagan2005rte,
  title = {The {PASCAL} Recognising Textual Entailment Challenge},
  author = {Dagan, Ido and Glickman, Oren and Magnini, Bernardo},
  booktitle = {Machine Learning Challenges Workshop},
  pages = {177--190},
  year = {2005}
}""",
    "levesque2012winograd": """@inproceedings{levesque2012winograd,
  title = {The {Winograd} Schema Challenge},
  author = {Levesque, Hector and Davis, Ernest and Morgenstern, Leora},
  booktitle = {Principles of Knowledge Representation and Reasoning},
  year = {2012}
}""",
}
