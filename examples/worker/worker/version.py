CODE_VERSION = "1"  # shown in every answer: change it to see which code answers
