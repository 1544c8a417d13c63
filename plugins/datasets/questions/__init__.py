"""Questions about pictures: VQAv2, OK-VQA, A-OKVQA, GQA, and visual commonsense reasoning."""
