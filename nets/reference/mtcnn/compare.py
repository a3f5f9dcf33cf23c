"""`faces align` beside the Python package facenet-pytorch 2.6.0, on photographs that anybody has.

    python compare.py --program target/release/faces --mtcnn WHEEL

Needs torch, torchvision, numpy, pillow, scikit-image and facenet-pytorch. The photographs are those in
scikit-image that show people, the astronaut Eileen Collins (NASA) and a cameraman (CC0), as they are and
larger, smaller, mirrored, turned and side by side. Both programs read the same PNG files; every face that
either finds is compared, and the largest distances are printed. Ends with code 1 when the programs find
other numbers of faces, or a landmark lies more than half a pixel from the package's.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import skimage.data
from facenet_pytorch import MTCNN
from PIL import Image, ImageOps

MOST = 0.5


def photographs():
    astronaut = Image.fromarray(skimage.data.astronaut())
    camera = Image.fromarray(skimage.data.camera()).convert("RGB")
    yield "astronaut", astronaut
    yield "camera", camera
    yield "astronaut-mirrored", ImageOps.mirror(astronaut)
    yield "camera-mirrored", ImageOps.mirror(camera)
    for size in (200, 333, 1100, 1800):
        yield f"astronaut-{size}", astronaut.resize((size, size), Image.Resampling.LANCZOS)
    for degrees in (-20, 12, 25):
        yield f"astronaut-turned-{degrees}", astronaut.rotate(degrees, Image.Resampling.BICUBIC, expand=True)
    together = Image.new("RGB", (1024, 700))
    together.paste(astronaut, (0, 0))
    together.paste(ImageOps.mirror(astronaut).resize((300, 300)), (512, 60))
    together.paste(astronaut.resize((150, 150)), (830, 300))
    together.paste(camera.crop((100, 60, 400, 300)), (520, 420))
    yield "together", together


def package_faces(mtcnn, path):
    boxes, _, points = mtcnn.detect(Image.open(path).convert("RGB"), landmarks=True)
    if boxes is None:
        return []
    # Of several faces the package makes arrays of objects.
    return [(np.array(box, float), np.array(landmarks, float)) for box, landmarks in zip(boxes, points)]


def main():
    parser = argparse.ArgumentParser(description="faces align beside facenet-pytorch")
    parser.add_argument("--program", required=True, help="the program faces")
    parser.add_argument("--mtcnn", required=True, help="the wheel of facenet-pytorch 2.6.0")
    parser.add_argument("--sheet", help="where to draw what was found, as PNG")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        inputs, outputs = pathlib.Path(folder, "photographs"), pathlib.Path(folder, "aligned")
        inputs.mkdir()
        for name, image in photographs():
            image.save(inputs / f"{name}.png")
        command = [asked.program, "align", inputs, outputs, "--mtcnn", asked.mtcnn, "--min-probability", "0.7"]
        command += ["--sheet", asked.sheet] if asked.sheet else []
        subprocess.run(command, check=True)
        lines = (outputs / "alignment.jsonl").read_text().splitlines()[1:]
        mtcnn = MTCNN(keep_all=True, device="cpu")
        worst_landmark, worst_corner, count, differ = 0.0, 0.0, 0, False
        for record in map(json.loads, lines):
            ours, theirs = record["faces"], package_faces(mtcnn, inputs / record["path"])
            if len(ours) != len(theirs):
                print(f"{record['path']}: {len(ours)} faces, the package finds {len(theirs)}")
                differ = True
                continue
            for face in ours:
                corners, landmarks = np.array(face["corners"]), np.array(face["landmarks"])
                box, points = min(theirs, key=lambda other: np.abs(other[0] - corners).max())
                landmark = np.linalg.norm(points - landmarks, axis=1).max()
                corner = np.abs(box - corners).max()
                print(f"{record['path']}: landmarks within {landmark:.5f} px, box within {corner:.5f} px")
                worst_landmark, worst_corner = max(worst_landmark, landmark), max(worst_corner, corner)
                count += 1
    print(f"{count} faces: largest distance of a landmark {worst_landmark:.5f} px, of a corner {worst_corner:.5f} px")
    sys.exit(int(differ or count == 0 or bool(worst_landmark > MOST)))


if __name__ == "__main__":
    main()
